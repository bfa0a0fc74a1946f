# Nothing moves and nothing fails until they are heard again; then the deployment goes on where it was.
servers s1:web s2:web s3:web
deploy web=3
settle
deploy web=3 min_ready=10
wait 12
cut s2
cut s3
wait 40
show
back s2
back s3
settle
show
