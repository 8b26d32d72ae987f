module github.com/libruncvm/libruncvm/bindings/go

go 1.19
