# It may as well be the network of the control plane: nothing moves.
servers s1:web s2:web s3:web s4:web s5:web
deploy web=10
settle
cut s1
cut s2
cut s3
wait 40
show
back s1
wait 3
settle
show
back s2
back s3
wait 3
settle
show
