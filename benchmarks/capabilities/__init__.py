"""Which engine versions run what: `python -m benchmarks.capabilities` measures it and writes the capability table.

    environments   a real old runtime in a virtual environment of its own, removed afterwards
    child          runs models there, one process for many, and says what each did
    probes         a model with its inputs and the answers of the newest runtime; what a runtime made of it
    tflite_nets    small nets that cover what converters and quantizers write
    tflite_cut     a net becomes models of one operator each, with the numbers that it met in the net
    onnx_nodes     one node a model, from the standard's own examples, in every version and for every type
    own_recipes    networks by every recipe, as edge makes them
    agreement      whether what the rows say of the networks is what these did
    rows           outcomes become the rows of `converters/capability/*.toml`

The rule: nothing is asked of a file or a document; a runtime has loaded it, run it, and answered like the newest.
"""
