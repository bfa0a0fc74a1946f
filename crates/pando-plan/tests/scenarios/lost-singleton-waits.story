servers s1:web s2:worker s3:worker
deploy web=1 worker=1 singleton
settle
show
lose s2
wait 60
show
deploy web=1 worker=1 singleton
settle-but-lost
show
back s2
settle
show
lose s2
wait 30
remove s2
settle
show
