#pragma once

#include "comm/byte_stream.hpp"
#include "svd/compression_summary.hpp"
#include "svd/factor_archive_writer.hpp"

namespace hack::svd {

/// What a journal keeps of a finished matrix: this rank's tiles, as they go into the archive, and the summary of all.
void put_part(comm::ByteWriter& record, const MatrixPart& part);
void put_part(comm::PieceWriter& record, const MatrixPart& part);
MatrixPart get_part(comm::ByteReader& record);

void put_summary(comm::ByteWriter& record, const CompressionSummary& summary);
void put_summary(comm::PieceWriter& record, const CompressionSummary& summary);
CompressionSummary get_summary(comm::ByteReader& record);

}  // namespace hack::svd
