module github.com/libruncvm/libruncvm/tests/bindings/go

go 1.19

require github.com/libruncvm/libruncvm/bindings/go v0.0.0

replace github.com/libruncvm/libruncvm/bindings/go => ../../../bindings/go
