deploy web=2
settle
deploy web=2
deploy web=2
settle
