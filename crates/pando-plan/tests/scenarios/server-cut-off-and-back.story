# It runs on all the while; what was moved meanwhile ends when it hears so.
servers s1:web s2:web s3:web,worker s4:worker
deploy web=3 worker=2
settle
show
cut s3
wait 30
show
back s3
wait 1
show
settle
show
