# What belongs to each server waits for one that is down; when that starts again, it serves nothing but what was committed meanwhile.
servers s1:web s2:web s3:web
deploy web=3 each=1
settle
deploy web=3 each=1 min_ready=5
wait 2
lose s3
show
settle-but-lost
show
back s3
wait 2
show
settle
show
