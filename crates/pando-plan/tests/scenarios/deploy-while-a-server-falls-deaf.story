# The deploy waits for it as long as for one that is silent, and goes on without it.
servers s1:web s2:web s3:web
deploy each=1
settle
deafen s3
deploy each=1
wait 15
show
settle-but-lost
show
back s3
wait 3
settle
show
