deploy web=2
settle
restart
settle
