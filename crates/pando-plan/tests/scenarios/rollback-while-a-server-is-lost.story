servers s1:web s2:web s3:web
deploy web=3
settle
deploy web=3
settle
rollback v1
wait 1
lose s3
settle
show
back s3
wait 3
settle
show
