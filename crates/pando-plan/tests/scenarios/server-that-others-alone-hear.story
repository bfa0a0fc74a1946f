# It serves on until its replacements do; nothing waits for it, and it gets the release when it can be told.
servers s1:web s2:web s3:web,worker s4:worker
deploy web=3 worker=2
settle
deafen s3
wait 18
show
wait 10
show
deploy web=3 worker=2
settle-but-lost
show
back s3
wait 1
show
settle
show
