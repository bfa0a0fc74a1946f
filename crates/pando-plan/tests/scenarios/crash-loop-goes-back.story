deploy web=3 worker=1
settle
deploy web=3 worker=1 crash
settle
