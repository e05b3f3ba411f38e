/**
 * The X.509 library, ready to use: it needs the reflection metadata loaded before it and a Web Crypto to work with.
 * Only the files about certificates import it, and only through here.
 */

import 'reflect-metadata'
import { cryptoProvider } from '@peculiar/x509'

cryptoProvider.set(globalThis.crypto)

export {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate as ParsedCertificate,
  X509CertificateGenerator,
  X509Crl,
  X509CrlGenerator,
  X509CrlReason,
} from '@peculiar/x509'
