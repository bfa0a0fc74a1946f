servers s1:web s2:web s3:web
deploy web=6
settle
show
lose s3
wait 7
show
wait 15
settle
show
back s3
wait 3
settle
show
