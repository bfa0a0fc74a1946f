deploy web=3
settle
