deploy web=4
settle
deploy web=4 surge=2
settle
