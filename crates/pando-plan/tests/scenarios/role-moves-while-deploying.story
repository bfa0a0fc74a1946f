servers s1:web,worker s2:web s3:worker
deploy web=4 worker=2
settle
deploy web=4 worker=2
wait 1
roles s1 -worker
join s4:web
settle
show
