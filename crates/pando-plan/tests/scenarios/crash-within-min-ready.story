deploy web=2
settle
deploy web=2 min_ready=10 crash-after
settle
