module handler

go 1.20
