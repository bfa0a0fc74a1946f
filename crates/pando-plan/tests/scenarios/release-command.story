deploy web=2 release
settle
