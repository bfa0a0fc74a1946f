deploy web=2 worker=2
settle
deploy web=2
settle
