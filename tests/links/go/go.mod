module links

go 1.24
