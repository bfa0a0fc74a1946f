deploy web=2
settle
hold 4
deploy web=2
settle
