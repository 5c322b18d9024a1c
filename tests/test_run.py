def test_x(program, trained):
    print(trained.dact.checkpoint.keys(), trained.dact.validation())
    r = program("model=dact", "warm_start=none")
    print(r)
    r = program("mode=validate", f"ckpt_path={trained.dact.last}")
    print(r)
