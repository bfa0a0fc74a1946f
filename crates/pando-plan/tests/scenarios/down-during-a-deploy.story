servers s1:web s2:web s3:web
deploy web=3
settle
lose s3
wait 25
deploy web=3
settle
show
back s3
wait 3
settle
show
