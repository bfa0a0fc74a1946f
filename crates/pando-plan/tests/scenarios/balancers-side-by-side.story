servers s1:web s2:web
deploy web=2
settle
show
join lb1:lb
settle
join lb2:lb
settle
show
lockdown on
settle
show
deploy web=2
settle
lose lb2
deploy web=2
settle
show
remove lb1
back lb2
wait 3
settle
remove lb1
settle
show
