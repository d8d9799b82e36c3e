"""What PaddleDetection's deploy scripts need to run on Paddle 3."""


def adapt(infer, *, onednn):
    """Adapt the module ``infer`` of ``deploy/python``.

    ``enable_memory_optim`` raises on programs of Paddle 3 and is left out. oneDNN, which is on even where the scripts
    do not ask for it, is switched off unless it is wanted.
    """

    class Config(infer.Config):
        def __init__(self, *files):
            super().__init__(*files)
            if not onednn:
                self.disable_mkldnn()

        def enable_memory_optim(self, *_):
            """Left out."""

    infer.Config = Config
