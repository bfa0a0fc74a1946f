# What runs is told where the database is; when that changes, it is replaced.
servers main:web,db s2:web
deploy web=4 db
settle
join db1:db
settle
roles main -db
settle
show
roles db1 -db
remove db1
