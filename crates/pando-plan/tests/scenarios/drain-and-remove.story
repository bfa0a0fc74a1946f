servers s1:web s2:web s3:web
hold 3
deploy web=6
settle
drain s2
wait 1
show
settle
show
undrain s2
settle
show
remove s3
wait 2
show
settle
wait 3
show
