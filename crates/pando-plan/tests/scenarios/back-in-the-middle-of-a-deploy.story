# Its load balancer uses the table of before: it is given the time that others had.
servers s1:web s2:web s3:web
deploy web=3
settle
cut s3
wait 30
settle
deploy web=3 min_ready=15
wait 11
back s3
wait 3
show
settle
show
