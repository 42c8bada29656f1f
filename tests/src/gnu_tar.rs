//! gnu_tar
