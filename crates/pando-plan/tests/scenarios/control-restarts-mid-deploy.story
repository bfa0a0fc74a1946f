deploy web=3
settle
deploy web=3 min_ready=1
wait 2
control restarts
settle
