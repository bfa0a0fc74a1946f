deploy web=2
settle
scale web=5
settle
scale web=1
settle
