servers s1:lb,web s2:web s3:web
deploy web=3
settle
# How far it is, by server.
deploy web=3 comes
wait 2
show
