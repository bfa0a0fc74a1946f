deploy web=1
settle
hold 600
deploy web=1
settle
