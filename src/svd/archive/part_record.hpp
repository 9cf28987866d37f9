#pragma once

#include "io/byte_stream.hpp"
#include "svd/pipeline/compression_summary.hpp"
#include "svd/archive/factor_archive_writer.hpp"

namespace hack::svd {

/// What a journal keeps of a finished matrix: this rank's tiles, as they go into the archive, and the summary of all.
void put_part(io::ByteWriter& record, const MatrixPart& part);
void put_part(io::PieceWriter& record, const MatrixPart& part);
/// An Error where its numbers contradict each other.
MatrixPart get_part(io::ByteReader& record);

void put_summary(io::ByteWriter& record, const CompressionSummary& summary);
void put_summary(io::PieceWriter& record, const CompressionSummary& summary);
CompressionSummary get_summary(io::ByteReader& record);

}  // namespace hack::svd
