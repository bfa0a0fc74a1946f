servers s1:web s2:web s3:web
deploy web=3
settle
lose s3
remove s3
wait 25
settle
show
