servers s1:web s2:web s3:web s4:web s5:web
deploy web=10
settle
deploy web=10
wait 3
lose s3
settle
show
back s3
wait 3
settle
show
