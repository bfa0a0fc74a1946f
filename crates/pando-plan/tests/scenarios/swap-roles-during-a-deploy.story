servers s1:web s2:worker
deploy web=2 worker=2
settle
deploy web=2 worker=2 min_ready=3
wait 2
roles s1 -web +worker
roles s1 +worker
roles s2 +web
roles s1 -web
roles s2 -worker
wait 2
show
settle
show
