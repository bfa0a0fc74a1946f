# It belongs to its server; a release that comes meanwhile is what it runs when it is back.
servers s1:web s2:web s3:web
deploy each=1
settle
lose s3
wait 30
show
deploy each=1
settle-but-lost
show
back s3
wait 3
settle
show
