deploy web=2
settle
stop
settle
start
settle
