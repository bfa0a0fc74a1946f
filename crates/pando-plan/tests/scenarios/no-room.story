# Each server has 8 GB.
servers s1:web s2:web s3:web
deploy web=6 memory=3000
deploy web=3 memory=3000
settle
show
scale web=7
drain s1
settle
drain s2
lose s3
wait 40
show
remove s3
scale web=1
settle
show
