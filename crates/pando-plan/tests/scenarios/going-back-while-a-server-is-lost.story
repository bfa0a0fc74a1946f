# The new release fails on one server, and another is lost while everything goes back.
servers s1:web s2:web s3:web
deploy web=6
settle
deploy web=6 broken-on=s2 surge=2
wait 62
show
lose s3
wait 30
settle
show
back s3
wait 3
settle
show
