"""`python -m switch_tf` is `switch-tf`."""

from switch_tf.cli import main

if __name__ == "__main__":
    main()
