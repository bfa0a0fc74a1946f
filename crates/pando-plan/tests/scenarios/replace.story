deploy web=3
settle
deploy web=3 strategy=replace
settle
