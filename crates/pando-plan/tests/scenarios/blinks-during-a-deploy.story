# It is away for less time than would make it lost: the deployment waits for it.
servers s1:web s2:web s3:web
deploy web=3
settle
deploy web=3 min_ready=3
wait 2
lose s3
wait 12
show
back s3
settle
show
