deploy web=3
settle
deploy web=3 surge=0 unavailable=1
settle
