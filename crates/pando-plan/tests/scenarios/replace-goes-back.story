deploy web=2
settle
deploy web=2 strategy=replace crash
settle
