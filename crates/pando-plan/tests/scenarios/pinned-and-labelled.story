servers s1:web s2:web s3:web
label s3 disk=ssd
deploy web=2 pin=s1,s2
settle
show
deploy web=2 label=disk:ssd
settle
show
label s1 disk=ssd
settle
show
deploy web=2 pin=s9
