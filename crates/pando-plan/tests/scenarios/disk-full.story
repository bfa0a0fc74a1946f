deploy web=2
settle
deploy web=2 full
settle
